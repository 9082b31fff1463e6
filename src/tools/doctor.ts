/** `ds4 doctor`: looks at everything ds4 needs, changes nothing and says what to do. Exit code 0: all
 *  is well, 1: warnings, 2: failures. `--selftest` runs every kernel against its reference. */
import type { Io } from "../cli/io.ts"
import { findModel, kvDirectory } from "../cli/models.ts"
import type { Args } from "../cli/options.ts"
import { DEFAULT_CONTEXT, openModelFile } from "../session/open.ts"
import {
  checkBun,
  checkInstall,
  checkLibrary,
  checkMachine,
  checkModel,
  type Finding,
  type Status,
} from "./doctor-checks.ts"
import { type Place, places } from "./doctor-places.ts"
import { PUBLISHED } from "./doctor-published.ts"
import { selftest } from "./doctor-selftest.ts"
import { count, size } from "./inspect-print.ts"

const EXIT_CODES: Record<Status, number> = { ok: 0, note: 0, warning: 1, failure: 2 }

export async function run(args: Args, io: Io): Promise<number> {
  if (args.flag("selftest")) return selftest(args, io)
  const findings = await findingsOf(args, io)
  const status = worst(findings)
  const kept = places(kvDirectory(args, io))
  if (args.flag("json"))
    io.out(`${JSON.stringify({ status, findings, places: kept, published: PUBLISHED }, null, 2)}\n`)
  else {
    io.out(`${findings.map((f) => findingText(f, io)).join("\n")}\n\n`)
    io.out(`${placesText(kept, io)}\n\n`)
    io.out(`${publishedText(io)}\n`)
  }
  return EXIT_CODES[status]
}

async function findingsOf(args: Args, io: Io): Promise<Finding[]> {
  const library = await checkLibrary((line) => io.err(`${line}\n`))
  const findings = [...checkMachine(), checkBun(), ...checkInstall(), library]
  const context = args.number("ctx") ?? DEFAULT_CONTEXT
  if (library.status === "failure")
    return [
      ...findings,
      { topic: "model", status: "warning", text: "not looked at: the native library maps it" },
    ]
  try {
    const { path } = findModel(args, io)
    return [...findings, ...checkModel(() => openModelFile({ path }), context)]
  } catch (error) {
    return [...findings, { topic: "model", status: "failure", text: (error as Error).message }]
  }
}

export function worst(findings: readonly Finding[]): Status {
  const has = (status: Status) => findings.some((f) => f.status === status)
  return has("failure") ? "failure" : has("warning") ? "warning" : "ok"
}

function findingText(f: Finding, { colors }: Io): string {
  const marks = {
    ok: colors.green("ok  "),
    note: colors.cyan("note"),
    warning: colors.yellow("warn"),
    failure: colors.red("FAIL"),
  }
  const fix = f.fix === undefined ? "" : `\n     ${f.fix}`
  return `${marks[f.status]} ${colors.bold(f.topic)}: ${f.text}${fix}`
}

function placesText(kept: readonly Place[], { colors }: Io): string {
  const lines = kept.map(({ what, path, bytes, remove }) => {
    const removal = remove === null ? "part of ds4" : `remove: ${remove}`
    const state = bytes === null ? "nothing there" : `${size(bytes)}, ${removal}`
    return `  ${what}: ${path}  ${colors.dim(state)}`
  })
  return [colors.bold("Where things lie"), ...lines].join("\n")
}

function publishedText({ colors }: Io): string {
  const { repository, file, bytes, sha256July31 } = PUBLISHED
  return [
    colors.bold("The full model"),
    `  ${file}, ${size(bytes)}`,
    `  from https://huggingface.co/${repository} into ~/.ds4/models (or name it with -m)`,
    `  ${colors.dim(`the re-release of July 31: ${count(bytes)} bytes, SHA-256 ${sha256July31}`)}`,
  ].join("\n")
}
