/** What the threads of the load scripts say to each other. */

/** Milliseconds by a clock that all threads of the process share. */
export const now = (): number => performance.timeOrigin + performance.now()

/** Channel on which the engine says when tokens were chosen. */
export const STAMPS = "ds4-load-stamps"

/** When the tokens of the request whose `maxTokens` is `tag` were chosen. */
export interface Stamps {
  tag: number
  chosen: number[]
  /** For each piece of text, when the token was chosen that completed it. */
  said: number[]
}

/** Streamed completions that clients ask for, all at once. */
export interface Ask {
  url: string
  bodies: object[]
}

/** For each: the moments at which its pieces of text came. */
export interface Arrivals {
  came: number[][]
}
