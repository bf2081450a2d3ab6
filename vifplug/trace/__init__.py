"""Where the frames of a VIF stop: facts gathered at each hop, and a verdict about them."""
