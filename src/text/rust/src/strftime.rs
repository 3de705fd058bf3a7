//! strftime of chat templates, in UTC.

use std::fmt::Write;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

struct Moment {
    year: i64,
    month: usize, // 0..12
    day: i64,
    day_of_year: i64, // 1..
    day_of_week: usize,
    second: i64, // of the day
}

impl Moment {
    /// The proleptic Gregorian calendar, in years that start in March.
    fn new(seconds: i64) -> Self {
        let days = seconds.div_euclid(86_400);
        let shifted = days + 719_468; // since 1 March of year 0
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * of_year + 2) / 153;
        let month = (march_month + 2) % 12;
        let year = year_of_era + era * 400 + i64::from(month < 2);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let day_of_year = match month {
            0 | 1 => of_year - 305,
            _ => of_year + 60 + i64::from(leap),
        };
        Moment {
            year,
            month: month as usize,
            day: of_year - (153 * march_month + 2) / 5 + 1,
            day_of_year,
            day_of_week: (days + 4).rem_euclid(7) as usize,
            second: seconds.rem_euclid(86_400),
        }
    }
}

pub fn strftime(format: &str, seconds: i64) -> String {
    let t = Moment::new(seconds);
    let (hour, minute, second) = (t.second / 3600, t.second / 60 % 60, t.second % 60);
    let hour12 = (hour + 11) % 12 + 1;
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut code = chars.next();
        let pad = code != Some('-');
        if !pad {
            code = chars.next();
        }
        let mut number = |value: i64, width: usize| {
            let width = if pad { width } else { 0 };
            let _ = write!(out, "{value:0width$}");
        };
        match code {
            Some('Y') => number(t.year, 4),
            Some('y') => number(t.year.rem_euclid(100), 2),
            Some('m') => number(t.month as i64 + 1, 2),
            Some('d') => number(t.day, 2),
            Some('j') => number(t.day_of_year, 3),
            Some('H') => number(hour, 2),
            Some('I') => number(hour12, 2),
            Some('M') => number(minute, 2),
            Some('S') => number(second, 2),
            Some('B') => out.push_str(MONTHS[t.month]),
            Some('b') => out.push_str(&MONTHS[t.month][..3]),
            Some('A') => out.push_str(DAYS[t.day_of_week]),
            Some('a') => out.push_str(&DAYS[t.day_of_week][..3]),
            Some('p') => out.push_str(if hour < 12 { "AM" } else { "PM" }),
            Some('F') => out.push_str(&strftime("%Y-%m-%d", seconds)),
            Some('T') => out.push_str(&strftime("%H:%M:%S", seconds)),
            Some('Z') => out.push_str("UTC"),
            Some('z') => out.push_str("+0000"),
            Some('%') => out.push('%'),
            other => {
                out.push('%');
                out.extend(other);
            }
        }
    }
    out
}
