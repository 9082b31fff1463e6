/** A Worker's URL must be made in a module beside the entry, or a compiled executable does not find it. */
export const spawnEngine = (): Worker => new Worker(new URL("./worker.ts", import.meta.url))
