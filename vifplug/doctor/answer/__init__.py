"""What a diagnosis becomes: findings that are alike together, and a bundle for a bug report."""
