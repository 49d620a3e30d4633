"""What shows: widgets for JupyterLab and Voila."""
