"""What JupyterLab sees of Data Engine."""
