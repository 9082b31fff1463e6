/** The parts of the page as constants of the code; see page-parts.ts. */
import { pageParts } from "./page-parts.ts" with { type: "macro" }

export const PAGE = pageParts()
