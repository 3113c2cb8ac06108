"""From enable_map to events: the slim paper executor."""
