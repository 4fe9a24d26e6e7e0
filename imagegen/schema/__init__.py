"""The messages between the parts of the studio: requests, events, receipts, and facts about models."""
