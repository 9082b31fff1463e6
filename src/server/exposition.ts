/** Prometheus' text format, version 0.0.4: families of samples, and histograms to make them of. */

type Labels = Readonly<Record<string, string | number>>

/** What follows the family's name, its labels, its value. */
type Sample = [suffix: "" | "_bucket" | "_sum" | "_count", labels: Labels, value: number]

export interface Family {
  name: string
  type: "counter" | "gauge" | "histogram"
  help: string
  samples: readonly Sample[]
}

/** A family of one number. */
export const single = (
  type: "counter" | "gauge",
  name: string,
  help: string,
  value: number,
  labels: Labels = {},
): Family => ({ name, type, help, samples: [["", labels, value]] })

/** The text that is scraped. Families must have different names. */
export function exposition(families: readonly Family[]): string {
  const lines = families.flatMap(({ name, type, help, samples }) => [
    `# HELP ${name} ${help.replace(/\\/g, "\\\\").replace(/\n/g, "\\n")}`,
    `# TYPE ${name} ${type}`,
    ...samples.map(([suffix, labels, value]) => `${name}${suffix}${labelText(labels)} ${value}`),
  ])
  return `${lines.join("\n")}\n`
}

function labelText(labels: Labels): string {
  const parts = Object.entries(labels).map(([name, value]) => `${name}="${escaped(`${value}`)}"`)
  return parts.length > 0 ? `{${parts.join(",")}}` : ""
}

const escaped = (value: string) =>
  value.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n")

/** Bounds from a token of a small model to a long prompt on a slow machine, in seconds. */
const SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 1800]

/** How often something took how many seconds. */
export class Histogram {
  readonly #counts: number[] = Array.from({ length: SECONDS.length + 1 }, () => 0)
  #sum = 0

  observe(seconds: number): void {
    const at = SECONDS.findIndex((bound) => seconds <= bound)
    this.#counts[at < 0 ? SECONDS.length : at]!++
    this.#sum += seconds
  }

  family(name: string, help: string, labels: Labels): Family {
    let total = 0
    const buckets = this.#counts.map((n, i): Sample => {
      total += n
      return ["_bucket", { ...labels, le: SECONDS[i] ?? "+Inf" }, total]
    })
    const samples: Sample[] = [...buckets, ["_sum", labels, this.#sum], ["_count", labels, total]]
    return { name, type: "histogram", help, samples }
  }
}
