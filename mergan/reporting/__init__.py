"""The report: runs are found and read, grouped by setting, compared, drawn, and shown on one page.

Run folders may be foreign: what stands in them is data. Only what needs a generator imports torch.
"""
