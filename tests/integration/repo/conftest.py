from fix_repo import bare, first_bare, ops, person

__all__ = ["bare", "first_bare", "ops", "person"]
