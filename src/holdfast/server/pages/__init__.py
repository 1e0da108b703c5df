"""The server's pages for people: HTML from templates, with htmx for comfort; everything works without it.

The rules of these pages are those of the API (``guard``); what they show is what the API answers. Bytes of assets are shown as text
that is escaped into a page, or as one of a few kinds of images that are looked at first; everything else is an attachment.
"""
