"""The kinds of resources that a VIF consists of."""
