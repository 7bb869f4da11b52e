"""When composites of MODIS and VIIRS begin: a calendar that starts anew each year."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta


@dataclass(frozen=True, slots=True)
class Calendar:
    """Starts every so many days from a day of each year on."""

    first: int
    """Day of the year of the first start."""
    step: int
    """Days from start to start."""
    days: int
    """Days that an image looks at, unless the next one cuts them off."""

    def start(self, day: date) -> date:
        """The last start up to a day.

        >>> TERRA.start(date(2020, 12, 31)).isoformat(), AQUA.start(date(2021, 1, 3)).isoformat()
        ('2020-12-18', '2020-12-26')
        """
        anew = self._anew(day.year)
        if day < anew:
            anew = self._anew(day.year - 1)
        passed = (day - anew).days
        return anew + timedelta(days=passed - passed % self.step)

    def following(self, start: date) -> date:
        """The next start."""
        anew = self._anew(start.year)
        return min(start + timedelta(days=self.step), anew if anew > start else self._anew(start.year + 1))

    def end(self, start: datetime) -> datetime:
        """The first moment after an image: where images do not overlap, the next one begins then.

        >>> TERRA.end(datetime(2007, 12, 19, tzinfo=UTC)).date().isoformat()
        '2008-01-01'
        """
        if self.days > self.step:
            return start + timedelta(days=self.days)
        following = self.following(start.date())
        return datetime(following.year, following.month, following.day, tzinfo=UTC)

    def _anew(self, year: int) -> date:
        return date(year, 1, 1) + timedelta(days=self.first - 1)


TERRA = Calendar(first=1, step=16, days=16)
AQUA = Calendar(first=9, step=16, days=16)
"""Eight days after Terra, so that both together show a place every eight days."""
VIIRS = Calendar(first=1, step=8, days=16)
DAILY = Calendar(first=1, step=1, days=1)
