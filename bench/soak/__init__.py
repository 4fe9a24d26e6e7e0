"""The scorecard: loads and faults that the studio must stand, what it must do, and how that is checked."""
