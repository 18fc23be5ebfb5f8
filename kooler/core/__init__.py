"""What every room stands on: each file is one thing, and none of them is a technique."""
