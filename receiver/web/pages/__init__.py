"""Pages for people. All of them work without JavaScript; with it they keep themselves up to date."""
