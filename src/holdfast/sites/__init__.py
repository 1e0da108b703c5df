"""Sites: a webroot whose media directories live in buckets. Settings, rules and plans are pure; backups are versions (docs/sites.md)."""
