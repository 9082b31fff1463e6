/** The conformance table: every op with seeded inputs, held to the reference backend within a bound
 *  that the case states. Tests run it on every instruction set, `ds4 doctor --selftest` on the user's
 *  machine. After the technique of ggml's test-backend-ops: a case is data, and builds its own inputs. */
export type { Case } from "./case.ts"
export type { Bound, Output } from "./compare.ts"
export { type ConformanceOptions, type ConformanceReport, nameOf, runConformance } from "./run.ts"
export { conformanceCases } from "./table.ts"
