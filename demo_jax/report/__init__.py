"""What people look at: printed tables, figures and the dashboard."""
