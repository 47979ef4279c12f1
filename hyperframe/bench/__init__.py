"""Measurements side by side: what the work costs, and what generators are worth that were trained with one budget.

- `speed`: what parts of the work cost, beside plainer ways of doing them
- `recipes`: what each generator of a comparison changes of a configuration, and how many steps its budget is worth
- `cells`: one generator trained from one seed, and measured
- `generators`: trains and measures all cells of a comparison, and sums them up over seeds
- `grid`: grids of configurations read, and their cells
- `sweep`: trains the cells of a grid in processes of their own, and compares them
- `processes`: commands run in processes of their own, several at a time
- `table1`: the paper's Table 1, cell by cell
- `tables`: a comparison as a Markdown page
- `pictures`: a comparison as a picture
"""
