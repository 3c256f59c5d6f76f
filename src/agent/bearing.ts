/** Several things that are done one after the other, where what fails of one keeps nothing from the next. */

/** Bearing keeps what went wrong, as sentences. */
export class Bearing {
  readonly problems: string[] = [];
  /** What is being done, and not there yet. */
  readonly waiting: string[] = [];

  /** bear does something, and tells whether it was done; `what` stands before what is said of a failure. */
  bear(work: () => void, what?: string): boolean {
    try {
      work();
      return true;
    } catch (error) {
      const { message } = error as Error;
      this.problems.push(what === undefined ? message : `${what}: ${message}`);
      return false;
    }
  }
}
