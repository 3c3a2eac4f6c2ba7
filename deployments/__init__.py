"""How flows are run for real: recipes, and the Prefect server and work pools around them."""
