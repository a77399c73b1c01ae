"""Services: ordinary asyncio servers that the worker brings guests to."""
