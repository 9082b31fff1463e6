/** Help of ds4 and of its commands: cac lays it out, the table of options fills it. */
import { cac } from "cac"
import { absentOf, flagOf, type Option, optionsOf } from "./options.ts"
import type { Io } from "./io.ts"

/** What help says of a command. */
export interface CommandHelp {
  usage: string
  help: string
  examples: readonly string[]
}

const WIDTH = 100
const HEADINGS = /^([A-Z][a-z ]+):$/gm

/** Prints the help of one command, or with the name "" of all. */
export function printHelp(
  name: string,
  commands: Readonly<Record<string, CommandHelp>>,
  version: string,
  io: Io,
): void {
  const cli = cac("ds4")
  for (const [each, { usage, help, examples }] of Object.entries(commands)) {
    const command = cli.command(usage, help)
    if (each === name) for (const example of examples) command.example(`  $ ${example}`)
  }
  let text = ""
  cli.version(version)
  cli.help((sections) => {
    if (name !== "") sections[0] = { body: `${commands[name]!.help}.` }
    const kept = sections.filter((s) => !s.title?.startsWith("For more info"))
    const at = kept.findIndex((s) => s.title === "Options")
    const options = { title: "Options", body: optionLines(name) }
    if (at < 0) kept.push(options)
    else kept[at] = options
    if (name === "") kept.push({ body: GENERAL })
    text = kept.map((s) => (s.title ? `${s.title}:\n${s.body}` : s.body)).join("\n\n")
    return [{ body: "" }] // printed below, whole and in colour
  })
  quietly(() => {
    cli.parse(["bun", "ds4", ...(name === "" ? [] : [name]), "--help"], { run: false })
  })
  io.out(`${text.replace(HEADINGS, (line) => io.colors.bold(line))}\n`)
}

const GENERAL = `Each command has its own --help. \`ds4 -p "…"\` alone means \`ds4 chat -p "…"\`.
A variable in [brackets] stands for its flag; a flag wins over it.`

/** cac prints by console.info. */
function quietly(work: () => void): void {
  const { info } = console
  console.info = () => {}
  try {
    work()
  } finally {
    console.info = info
  }
}

function optionLines(command: string): string {
  const rows = optionsOf(command).map((o) => [flagText(o), describe(o, command)] as const)
  const left = Math.max(...rows.map(([flags]) => (flags.length > 34 ? 0 : flags.length)))
  return rows
    .map(([flags, text]) => {
      const [first = "", ...more] = Bun.wrapAnsi(text, WIDTH - left - 4).split("\n")
      const pad = " ".repeat(left + 4)
      const head =
        flags.length > left ? `  ${flags}\n${pad}${first}` : `  ${flags.padEnd(left)}  ${first}`
      return [head, ...more.map((line) => pad + line)].join("\n")
    })
    .join("\n")
}

function flagText(o: Option): string {
  const short = (o.alias ?? []).filter((a) => !a.startsWith("--"))
  const long = (o.alias ?? []).filter((a) => a.startsWith("--"))
  const others = Object.keys(o.sets ?? {}).filter((flag) => !o.refused?.[o.sets![flag]!])
  if (o.sets && !o.value) return others.join(", ")
  const value = o.value ? ` <${o.value}>` : ""
  return [[...short, flagOf(o.name), ...long].join(", ") + value, ...others].join(", ")
}

function describe(o: Option, command: string): string {
  const absent = absentOf(o, command)
  return [o.help, absent && `(default: ${absent})`, o.env && `[${o.env}]`].filter(Boolean).join(" ")
}
