"""The page of app.py: choose pictures, learn, look at results. Streamlit shows it."""
