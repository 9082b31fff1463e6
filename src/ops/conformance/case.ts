/** What a conformance case is. */
import type { OpKernels } from "../../../ffi/ops.gen.ts"
import type { Tensor } from "../tensor.ts"
import type { Bound, Output } from "./compare.ts"
import type { Fixture } from "./fixture.ts"

export interface Case {
  readonly op: keyof OpKernels
  /** Shape and point of the case; op and name together are unique. */
  readonly name: string
  /** Builds inputs from f.rand, runs the op once or in several steps, returns what it made. */
  run(f: Fixture): Output[]
  /** Where a backend may round activations to 8 bits: the bound against a reference that is fed the
   *  rounded activations. The bounds of the outputs then are against exact ones. */
  readonly rounded?: Bound
}

/** Reads an output; `rowLength` as in Output. */
export function output(
  f: Fixture,
  name: string,
  t: Tensor,
  bound: Bound,
  rowLength?: number,
): Output {
  const values = f.read(t)
  return rowLength === undefined ? { name, values, bound } : { name, values, bound, rowLength }
}
