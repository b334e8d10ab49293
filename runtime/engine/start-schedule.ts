/**
 * When sequences begin, where the CPU attends to pages in its memory: its work is the sum of all lengths, and a batch that
 * begins at once has that sum rise to its peak and fall to nothing. Begun one after the other, evenly over the time that
 * one runs, some are short while others are long, and the sum stays near half of the peak (FastDecode, He & Zhai 2024,
 * arXiv:2403.11421: M = B · F / S sequences begin every F steps, where B run at once, S steps each; here M is 1).
 */
export class StartSchedule {
  /** steps so far, */
  private step = 0;
  /** and from which on the next may begin; a part of one where several begin in a step */
  private next = 0;
  /** steps that sequences have run, on average, the latest counting most */
  private usual?: number;

  /** most: sequences that may run at once */
  constructor(private readonly most: number) {}

  /** A step begins. */
  tick(): void {
    this.step++;
  }

  /** Whether a sequence may begin in this step. Half of what may run has half of the peak, of whatever age it is. */
  allows(running: number, waiting: number): boolean {
    return running === 0 || running + waiting <= this.most / 2 || this.next < this.step + 1;
  }

  /** One begins that runs for so many steps at most. */
  begin(steps: number): void {
    this.next = Math.max(this.next, this.step) + Math.min(steps, this.usual ?? steps) / this.most;
  }

  /** One has ended after so many steps. */
  end(steps: number): void {
    this.usual = this.usual === undefined ? steps : this.usual + (steps - this.usual) / this.most;
  }
}
