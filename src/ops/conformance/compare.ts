/** How far a backend may be from the reference, and whether it is. */
import type { TypedView } from "../tensor.ts"

/** exact: the same bits, any NaN equal to any other, 0 equal to -0. any: whatever comes, nothing throws.
 *  atol, rtol: |a - b| ≤ atol + rtol · |b| for each number. rms: √Σ(a - b)² ≤ rms · √Σb² in each row. */
export type Bound =
  | "exact"
  | "any"
  | { readonly atol: number; readonly rtol: number; readonly why: string }
  | { readonly rms: number; readonly why: string }

/** What an op made, as read from the device. */
export interface Output {
  readonly name: string
  readonly values: TypedView
  readonly bound: Bound
  /** Numbers of one row, where an rms bound is kept row by row; all unless given. */
  readonly rowLength?: number
}

/** Below this an rms is all subnormal numbers: a machine may well call them 0. */
const NOTHING = 1e-35

/** What is wrong with `got`, or undefined. */
export function difference(got: Output, wanted: TypedView, bound: Bound): string | undefined {
  if (bound === "any") return undefined
  if (got.values.length !== wanted.length)
    return `${got.name} has ${got.values.length} numbers, expected ${wanted.length}`
  if (bound !== "exact" && "rms" in bound)
    return rmsDifference(got, wanted, bound.rms, got.rowLength ?? wanted.length)
  const [atol, rtol] = bound === "exact" ? [0, 0] : [bound.atol, bound.rtol]
  for (let i = 0; i < wanted.length; i++) {
    const [a, b] = [got.values[i]!, wanted[i]!]
    if (a === b || (Number.isNaN(a) && Number.isNaN(b))) continue
    if (!(Math.abs(a - b) <= atol + rtol * Math.abs(b)))
      return `${got.name}[${i}] is ${a}, expected ${b}${bound === "exact" ? "" : ` within ${atol} + ${rtol} of it`}`
  }
  return undefined
}

function rmsDifference(
  got: Output,
  wanted: TypedView,
  limit: number,
  n: number,
): string | undefined {
  for (let at = 0; at < wanted.length; at += n) {
    let error = 0
    let size = 0
    for (let i = at; i < at + n; i++) {
      error += (got.values[i]! - wanted[i]!) ** 2
      size += wanted[i]! ** 2
    }
    if (Math.sqrt(error) <= limit * Math.sqrt(size) + NOTHING) continue
    const relative = Math.sqrt(error / size).toExponential(2)
    return `${got.name}, row ${at / n}: relative error ${relative}, expected at most ${limit}`
  }
  return undefined
}
