"""What reads and keeps: tables from CSV, the store, the clock."""
