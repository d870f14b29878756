"""ABX: do features tell phones apart, within and across speakers?"""
