"""What a VIF is made of."""
