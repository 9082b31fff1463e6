/** Processes that end in time, with all that they started. */
import type { Subprocess } from "bun"

export interface Ended {
  /** Null if the time was over. */
  code: number | null
  out: string
  err: string
}

export interface Command {
  cmd: string[]
  cwd: string
  /** This process's own if absent. */
  env?: Record<string, string>
  /** Milliseconds after which it is killed. */
  deadline: number
}

const running = new Set<Subprocess>()

/** Each in a process group of its own, so that what it starts can be ended with it. */
function spawn({ cmd, cwd, env }: Command) {
  const io = { stdin: "ignore", stdout: "pipe", stderr: "pipe" } as const
  const child = Bun.spawn(cmd, { cwd, ...(env && { env }), ...io, detached: true })
  running.add(child)
  return child
}

/** Runs a command to its end. */
export async function run(command: Command): Promise<Ended> {
  const child = spawn(command)
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    kill(child)
  }, command.deadline)
  const [out, err] = [new Response(child.stdout).text(), new Response(child.stderr).text()]
  const code = await child.exited
  clearTimeout(timer)
  kill(child) // what it left behind would keep the pipes open
  return { code: isLate ? null : code, out: await out, err: await err }
}

/** Starts a server, which runs until killAll, and waits for what its error output must say.
 *  @throws if it ends before */
export async function start(command: Command, pattern: RegExp): Promise<RegExpMatchArray> {
  const child = spawn(command)
  const timer = setTimeout(() => kill(child), command.deadline)
  let said = ""
  return new Promise((resolve, reject) => {
    const follow = async () => {
      for await (const chunk of child.stderr) {
        said += new TextDecoder().decode(chunk)
        const match = said.match(pattern)
        if (!match) continue
        clearTimeout(timer)
        resolve(match)
      }
      reject(new Error(`${command.cmd.join(" ")} has ended: ${said}`))
    }
    void follow()
  })
}

function kill(child: Subprocess): void {
  running.delete(child)
  try {
    process.kill(-child.pid, "SIGKILL")
  } catch {
    // The whole group has ended.
  }
}

/** Ends all that still runs. */
export function killAll(): void {
  for (const child of running) kill(child)
}
