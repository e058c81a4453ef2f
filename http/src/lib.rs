//! The HTTP client options shared by scraping, notification and remote protocols.
