"""From evidence to enable_map: gates, promotion, tracking, reports and the command line."""
