"""A score becomes an XDM ExperienceEvent. Pure: values in, values out."""
