/** Long work in pieces, with an ear for Ctrl-C between them. */

/** Between pieces, signals are let in when the last turn is this long ago; as the engine's Worker does
 *  with messages. */
const TURN_MS = 5
const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** Runs steps to their end, or undefined if an interrupt came before it. */
export async function drive<P, T>(
  steps: Generator<P, T>,
  show: (progress: P) => void,
  stop: Interrupt,
): Promise<T | undefined> {
  let lastTurn = performance.now()
  while (!stop.asked) {
    const step = steps.next()
    if (step.done) return step.value
    if (performance.now() - lastTurn < TURN_MS) continue
    show(step.value)
    await turn()
    lastTurn = performance.now()
  }
  return undefined
}

/** Exit code of what was stopped by Ctrl-C. */
export const INTERRUPTED = 130

/** Whether Ctrl-C was pressed. */
export class Interrupt {
  asked = false
  readonly #onSignal = () => void (this.asked = true)

  constructor() {
    process.on("SIGINT", this.#onSignal)
  }

  off(): void {
    process.off("SIGINT", this.#onSignal)
  }
}
