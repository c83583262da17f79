"""The demo: real files, a real process, real Ansible, real git, and one directory that holds all of it."""
