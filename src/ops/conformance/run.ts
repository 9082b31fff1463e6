/** Runs the table: each case on the backend under test and on a fresh reference. */
import type { Backend } from "../backend.ts"
import { openReference } from "../reference/index.ts"
import type { Case } from "./case.ts"
import { type Bound, difference, type Output } from "./compare.ts"
import { Fixture } from "./fixture.ts"
import { conformanceCases } from "./table.ts"

export interface ConformanceOptions {
  /** Which cases; all unless given. */
  filter?: (c: Case) => boolean
  /** Told after each case; `failure` is undefined where it passed. */
  onCase?: (c: Case, failure: string | undefined) => void
}

export interface ConformanceReport {
  readonly passed: number
  readonly failed: number
  readonly failures: { readonly name: string; readonly message: string }[]
}

/** Compares a backend with the reference on every case. Never throws for what a backend does. */
export function runConformance(
  backend: Backend,
  options: ConformanceOptions = {},
): ConformanceReport {
  const cases = conformanceCases().filter(options.filter ?? (() => true))
  const failures: { name: string; message: string }[] = []
  for (const c of cases) {
    const message = failureOf(c, backend)
    if (message !== undefined) failures.push({ name: nameOf(c), message })
    options.onCase?.(c, message)
  }
  return { passed: cases.length - failures.length, failed: failures.length, failures }
}

/** `matmul: Q8_0, 3 rows of …`. */
export const nameOf = (c: Case): string => `${c.op}: ${c.name}`

function failureOf(c: Case, backend: Backend): string | undefined {
  let got: Output[]
  try {
    got = outputs(c, backend, false)
  } catch (error) {
    return `threw ${error instanceof Error ? error.message : String(error)}`
  }
  const exact = onReference(c, false)
  const wrong = firstDifference(got, exact)
  if (wrong !== undefined || c.rounded === undefined) return wrong
  // A backend that rounds no activation is as good: it agrees with the exact reference.
  if (firstDifference(got, exact, c.rounded) === undefined) return undefined
  const rounded = firstDifference(got, onReference(c, true), c.rounded)
  return rounded === undefined ? undefined : `with rounded activations: ${rounded}`
}

function firstDifference(got: Output[], wanted: Output[], bound?: Bound): string | undefined {
  for (const [i, g] of got.entries()) {
    const wrong = difference(g, wanted[i]!.values, bound ?? g.bound)
    if (wrong !== undefined) return wrong
  }
  return undefined
}

function onReference(c: Case, rounded: boolean): Output[] {
  const reference = openReference()
  try {
    return outputs(c, reference, rounded)
  } finally {
    reference.close()
  }
}

function outputs(c: Case, backend: Backend, rounded: boolean): Output[] {
  using f = new Fixture(backend, seedOf(nameOf(c)), rounded)
  return c.run(f)
}

/** FNV-1a: a case keeps its numbers when others come or go. */
function seedOf(name: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193)
  return hash
}
