"""The system: what joins the phases. So far the request of the whole road."""
