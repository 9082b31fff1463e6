/** The only file that reads the environment. Flags win over variables, variables over defaults;
 *  src/cli/options.ts says which variable belongs to which flag. */

/** A variable's value, or undefined when it is unset or empty. */
export function env(name: string): string | undefined {
  const value = process.env[name]
  return value === undefined || value === "" ? undefined : value
}
