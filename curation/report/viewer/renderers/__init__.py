"""How a sample of each family is drawn: one module a family, named as the family is, with `-` as
`_`, that defines `render(shown) -> list[Block]`. A family without one is drawn by its segments."""
