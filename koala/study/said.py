"""The report's claims in its own words, beside those of koala.study.claims."""

SAID = {  # number of a claim -> the report's own words, and where they stand
    0: (
        "Feature Extractor based on Inception-v3 and ConvNeXt architectures deliver results comparable to those from the "
        "baseline (which utilizes Inception-ResNetv2)",
        "abstract",
    ),
    1: ("Model 2 […] achieve an excellent performance that is similar to Model 1", "section 3"),
    2: (
        "reducing the Feature Extractor in the Fusion layer helped a lot in making the converging faster for Inception-v3 "
        "although the final performance was slightly worse than the original",
        "section 3",
    ),
    3: (
        "we first tried to completely remove this segment. However, since the results were far from satisfying, this option "
        "was eventually discarded",
        "section 2",
    ),
    4: (
        "Model 4 with its cross-entropy loss was lagging behind other models in terms of performance and difference between "
        "training and validation",
        "section 3",
    ),
    5: ("Model 2 […] converged very quickly", "section 3"),
    6: (
        "Since the validation loss is still lower than the training loss, we could have increased the number of epochs to "
        "ensure full convergence",
        "section 3",
    ),
    7: ("most of the experiments failed with the red color", "section 3"),
    8: (
        "both the vanilla inception-v3 and ConvNeXt-T has learned more blue than they should, which lead some of the pictures "
        "to look more bluish, especially the ones with either sky or water",
        "section 3",
    ),
    9: (
        "when using the full Inception-v3, the Feature Extractor embeds high-level features about the grass and its color, "
        "which makes it more green",
        "section 3",
    ),
    10: (
        "key limitation of its [Deep Koalarization's], namely the limited ability to correctly sort out objects that can take "
        "multiple colors (e.g., apples, t-shirts, and walls)",
        "section 1",
    ),
}
