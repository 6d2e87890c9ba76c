"""Recipes of VICReg."""
