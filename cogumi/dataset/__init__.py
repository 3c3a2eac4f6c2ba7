"""Phase 1: questions written, judged and answered by teachers; exact counts a cell; nothing bought twice."""
