"""Control maps: what a ControlNet gets instead of the picture that a user gives, such as its edges."""
