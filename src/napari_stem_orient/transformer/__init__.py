"""The transformer that proposes orientations: tokens, network, loss, training, model folders."""
