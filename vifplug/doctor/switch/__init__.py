"""The state of Open vSwitch that decides about frames: values, and the checks of them."""
