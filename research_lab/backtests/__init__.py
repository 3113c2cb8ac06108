"""The bridge to vectorbt: cross-checks on an independent portfolio engine, both orders, stories of trades.

Nothing here counts: these functions know no trial ledger. What is chosen by what they show was looked at all the
same; score it with `research_lab.scoring.scorer.Scorer`, and the look is counted.
"""
