"""One child process per run."""
