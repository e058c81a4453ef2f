//! Rules and alerts: evaluation, templates, delivery.
